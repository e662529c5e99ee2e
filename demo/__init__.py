"""The main job end to end: export, serve, ask about sample slices, stop. `make demo` runs it."""
