"""Looking at what runs outside of the cluster: can it be used, and what is wrong with it.

Bytes and judgement are pure (bson, mongodb, redis, greetings); link has the bounded sockets; look asks everything at
the same time, each for a fraction of a second, because the answer is for somebody who waits for ``status``.
"""
