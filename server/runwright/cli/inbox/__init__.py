"""`runwright approvals inbox`: what is pending, on a screen. `state` is what is there, `drawing` what is seen of it,
`screen` the terminal, the keys and the calls."""
