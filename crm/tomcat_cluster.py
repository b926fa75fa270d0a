"""Session replication between Tomcats: the <Cluster> element of server.xml.

Members are listed, not found by multicast: the nodes are known, many networks pass no multicast on, and a member that starts tells
the others before it asks for their sessions, so that no change falls in between. Answers are acknowledged
(channelSendOptions 6): a response reaches the browser only when the other Tomcats have the session as it left it.
A JVM that hangs still takes connections, so the failure detector waits for an answer (performReadTest); without that every
request would wait for the hung one's acknowledgement. What is sent is encrypted, for it is deserialised where it arrives.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from xml.sax.saxutils import quoteattr

if TYPE_CHECKING:
    from hafailover.crm.topology import Service, Topology

_HA = "org.apache.catalina.ha"
_TRIBES = "org.apache.catalina.tribes"
_INTERCEPTORS = f"{_TRIBES}.group.interceptors"
_SYNCHRONOUS_ACKNOWLEDGED = 6


def lines(service: Service, topology: Topology, node: str, key: str) -> list[str]:
    """The element for ``node``; ``key`` is hexadecimal, of 16, 24 or 32 bytes. No lines when there is nobody to replicate to."""
    others = [name for name in service.nodes if name != node]
    if service.options["sessions"] != "replicated" or not others:
        return []
    port = service.options["session_port"]
    return [
        f'<Cluster className="{_HA}.tcp.SimpleTcpCluster" channelSendOptions="{_SYNCHRONOUS_ACKNOWLEDGED}">',
        f'  <Manager className="{_HA}.session.DeltaManager" expireSessionsOnShutdown="false" '
        'notifyListenersOnReplication="true" stateTransferTimeout="20" />',
        f'  <Channel className="{_TRIBES}.group.GroupChannel" heartbeatSleeptime="1000">',
        f'    <Membership className="{_TRIBES}.membership.StaticMembershipService" useThread="true" pingInterval="1000" '
        'expirationTime="4000" rpcTimeout="1000" connectTimeout="500">',
        f"      {_member('LocalMember', service, topology, node)}",
        *(f"      {_member('Member', service, topology, other)}" for other in others),
        "    </Membership>",
        f'    <Receiver className="{_TRIBES}.transport.nio.NioReceiver" '
        f'address={quoteattr(topology.nodes[node].links[0])} port="{port}" autoBind="0" maxThreads="6" />',
        f'    <Sender className="{_TRIBES}.transport.ReplicationTransmitter">',
        f'      <Transport className="{_TRIBES}.transport.nio.PooledParallelSender" timeout="2000" />',
        "    </Sender>",
        # Before the detector, which writes to the other side without passing what stands behind it here.
        f'    <Interceptor className="{_INTERCEPTORS}.EncryptInterceptor" encryptionAlgorithm="AES/GCM/NoPadding"',
        f"      encryptionKey={quoteattr(key)} />",
        f'    <Interceptor className="{_INTERCEPTORS}.TcpFailureDetector" performReadTest="true" readTestTimeout="1000" '
        'connectTimeout="500" />',
        f'    <Interceptor className="{_INTERCEPTORS}.MessageDispatchInterceptor" />',
        "  </Channel>",
        f'  <Valve className="{_HA}.tcp.ReplicationValve" filter="" />',
        f'  <ClusterListener className="{_HA}.session.ClusterSessionListener" />',
        "</Cluster>",
    ]


def _member(element: str, service: Service, topology: Topology, node: str) -> str:
    about = topology.nodes[node]
    # Sixteen bytes that tell members apart: the node's number, which is for ever.
    unique = ",".join(map(str, (*([0] * 14), about.id >> 8, about.id & 255)))
    # Bytes are signed there.
    unique = ",".join(str(int(byte) - 256 if int(byte) > 127 else int(byte)) for byte in unique.split(","))
    return (
        f'<{element} className="{_TRIBES}.membership.StaticMember" host={quoteattr(about.links[0])} '
        f'port="{service.options["session_port"]}" domain={quoteattr(service.name)} uniqueId="{{{unique}}}" />'
    )
