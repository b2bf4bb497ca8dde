"""HTTP: the application, the control API, the page, WebSockets and the servers."""
