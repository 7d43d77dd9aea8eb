"""What Kiln's speed, memory and steadiness are measured with; `make bench`, `make soak` and `make bench-reloads`."""
