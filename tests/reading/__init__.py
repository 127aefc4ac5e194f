"""Reading, as values: messages, the facts of the protocol, what waits for an answer. No process is started here."""
