"""The graph encoder, the action and value heads, and the policies built from them."""
