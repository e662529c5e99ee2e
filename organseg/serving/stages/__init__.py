"""The stages of the flow as the server runs them, one module each."""
