"""Reference API: a small service of the Claude Agent API's shape."""
