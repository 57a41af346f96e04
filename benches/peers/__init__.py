"""Compares thinkgate with other proxies and measures what a decision costs. scripts/compare, growth and decisions run it."""
