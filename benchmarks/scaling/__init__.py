"""Scale on paper: how many servers a rate of requests wants, by measured stage times.

A request walks a fork-join network of the contract's stages; `simulation` plays it event by
event, `formulas` holds the closed results that it is tested against, `planning` asks it how many
servers are enough, `checking` holds it against servers of this machine.
"""
