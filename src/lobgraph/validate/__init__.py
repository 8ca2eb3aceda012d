"""Does the engine agree with published theory? Markets whose law is known, measured and compared; `lobgraph validate`."""
