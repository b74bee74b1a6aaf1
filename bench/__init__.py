"""The figures of the README: `make bench`, or `python -m bench --scale 0.1` for a quick look."""
