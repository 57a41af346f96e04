"""Starts the real servers that e2e tests, soak tests and comparisons run: vLLM, thinkgate and Envoy, as child processes."""
