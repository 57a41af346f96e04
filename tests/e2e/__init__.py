"""Tests of thinkgate with a real vLLM, Envoy, nginx, curl and the OpenAI SDKs. scripts/test --real runs them."""
