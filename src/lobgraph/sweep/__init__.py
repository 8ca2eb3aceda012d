"""Settings searched by training: what to vary, trials in processes, what mattered. Needs the extra `sweep` (Optuna)."""
