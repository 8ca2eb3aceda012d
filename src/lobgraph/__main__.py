"""`python -m lobgraph` is the command `lobgraph`."""

from .cli import main

main()
