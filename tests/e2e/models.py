"""The models that the test servers serve, and prompts whose decision is known."""

MODEL = "tiny-qwen3"
OTHER_MODEL = "team/assistant"
OTHER_KEY = "sk-of-the-other-server"

HARD = "Prove that there are infinitely many primes, and then that there are infinitely many of the form 4k + 3."
EASY = "Hi there, how are you?"
