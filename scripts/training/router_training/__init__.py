"""The router model: its vocabulary, data, problem generators, training and measurement."""
