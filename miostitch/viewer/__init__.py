"""The viewer: a model of what is shown, its server and its page."""
