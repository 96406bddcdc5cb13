"""Random histories of approvals on the real runtime, and a model of what may happen in them.

`rules` and `people` are the model: what policies come to and who may decide, written from the documents alone.
`scene` makes up a world from a seed, `history` what happens in it, `server`, `hosts` and `faulty_journal` are what it
happens to. `reading` holds the events to the model, `answers` what callers were told.
"""
