"""`python -m perdure.cli`: the same as `perdure`."""

from perdure.cli import main

if __name__ == "__main__":  # a process of the worker for activities imports it under another name
    main()
