"""What both clients do, written once: each verb is a generator that yields what it needs done.

A verb opens no connection, sleeps nowhere and starts no thread: it yields effects (`effects`), and
a driver carries them out: `drive` with threads and blocking calls, `drive_aio` with tasks of an
event loop. So a verb is tested by hand, effect by effect, and both clients are the same.
"""
