"""Stand-ins for StackStorm's services, which no package archive at hand has: test equipment for the lab.

They have the real ones' unit names, listen on their ports, read /etc/st2/st2.conf, use the real RabbitMQ and the real
content directory, finish running actions on SIGTERM, and can be told to hang as the real ones do. They keep executions and
ticks in MariaDB, where a real StackStorm has MongoDB, so that tests can count what was done and how often.
"""
