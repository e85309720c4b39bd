"""How long work runs: devices, threads, several machines, resuming."""
