"""The messages of a model request, the memory they take, and the check of the reply."""
