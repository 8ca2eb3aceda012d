"""How like a real market a simulated one is: distances of distributions, stylised facts, and the scorecard of both."""
