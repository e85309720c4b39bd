"""Run long work: devices, threads, several machines, resuming."""
