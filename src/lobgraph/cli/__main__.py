"""python -m lobgraph.cli"""

from . import main

main()
