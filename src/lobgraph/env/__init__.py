"""The batched market environment: actions in, observations and rewards out."""
