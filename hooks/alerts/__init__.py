"""Alerts: what Pacemaker tells, kept on disk and delivered to people and programs, once to each, by one process on each node.

The agent (hooks/alert.sh) leaves each event as a file in the inbox. The service hangs it into the queue of every recipient that wants it
(``spool``), and one thread for each recipient delivers from there (``worker``): what is in a file survives whatever ends the process. Which
node delivers what every node has seen is agreed on in ``peers``.
"""
