"""The load generator: users that ask a server at once, and what that costs it.

A window of load (`run_window`) is made by locust in a process of its own under gevent; nothing
of gevent or locust is imported by the process that asks for it.
"""
