"""`organseg-client batch`: a CSV of images and questions, answered into a JSONL file."""

from organseg_client.command.batch.command import add_parser, run

__all__ = ["add_parser", "run"]
