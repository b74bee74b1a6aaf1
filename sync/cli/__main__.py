"""`python -m sync.cli` is `mikomi`: for places where the script is not on the path."""

from sync.cli.main import main

main()
