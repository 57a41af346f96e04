"""A soak test: mixed traffic through thinkgate to two real vLLMs while faults are injected. scripts/soak runs it."""
