"""The programs of the heap's bench; ../catalogue.py says what each one does.

A program is a module with `N`, the amount of work of a full run, and `run(n)`, which does n of it and returns
a number that depends on all that was computed: it must be the same in every column. Nothing is drawn that a
seed does not give, and nothing is read or written outside the process. `scattered` and `allocator` have forms
of their own.
"""
