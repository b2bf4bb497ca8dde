"""HTTP that knows nothing of Colonies: sockets, HTTP/1.1, WebSocket frames, limits, strict JSON."""
