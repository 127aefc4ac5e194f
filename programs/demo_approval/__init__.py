"""`make demo-approval`: an agent asks to cancel an order at a stub exchange, and a person says yes on a terminal."""
