"""`python -m nas`: the command line where its script is not on the path."""

from nas.cli import main

main()
