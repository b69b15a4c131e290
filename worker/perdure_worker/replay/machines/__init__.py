"""One small table-driven machine for each family of commands: its states, and what moves it from one to the next.

A table maps (state, input) to (state, action). What is not in a table cannot happen, and says so. The actions are
carried out by `execution`; a machine does nothing but remember where it stands and who waits for it.
"""
