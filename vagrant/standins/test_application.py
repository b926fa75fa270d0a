"""The web application that a lab with Tomcats is given: a login, a counter in the session, a database write. Test equipment.

It takes the place of CloudStack's /client, whose packages cannot be had.
"""

from __future__ import annotations

from pathlib import Path
from xml.sax.saxutils import quoteattr

from hafailover.crm.files import RenderedFile

SCHEMA = "hafailover_web"
ACCOUNT = "hafailover_web"
PASSWORD = "hafailover-web"  # noqa: S105 (of a throw-away database)
CONTEXT = "client"
ROWS = "SELECT user, number FROM hafailover_web.counts;"

_SOURCE = Path(__file__).resolve().with_name("webapp")
_PLACE = "/usr/local/share/hafailover-webapp"
# A pool as an application in production has it: a connection is tested before it is lent, and no answer is waited for for ever.
_POOL = {
    "name": "jdbc/counts",
    "auth": "Container",
    "type": "javax.sql.DataSource",
    "driverClassName": "org.mariadb.jdbc.Driver",
    "username": ACCOUNT,
    "password": PASSWORD,
    "maxTotal": "10",
    "maxWaitMillis": "5000",
    "testOnBorrow": "true",
    "validationQuery": "SELECT 1",
    "validationQueryTimeout": "2",
}
# A JVM for minutes on a small machine: without the second compiler it starts with half of the processor time.
_SETENV = 'CATALINA_OPTS="$CATALINA_OPTS -XX:TieredStopAtLevel=1 -XX:+UseSerialGC"\n'
# Nobody here has tag libraries: looking for them in every archive is most of a start.
_CONTEXT = """<Context>
  <WatchedResource>WEB-INF/web.xml</WatchedResource>
  <JarScanner scanClassPath="false" scanManifest="false" />
</Context>
"""


def files(base: str, database: str) -> list[RenderedFile]:
    """What deploying the application puts on a node whose CATALINA_BASE is ``base``; ``database`` is an address."""
    pages = sorted(path for path in _SOURCE.rglob("*") if path.is_file())
    found = [RenderedFile(f"{_PLACE}/{path.relative_to(_SOURCE)}", path.read_bytes()) for path in pages]
    url = f"jdbc:mariadb://{database}:3306/{SCHEMA}?connectTimeout=2000&socketTimeout=4000"
    attributes = " ".join(f"{name}={quoteattr(value)}" for name, value in {**_POOL, "url": url}.items())
    context = f'<Context docBase="{_PLACE}">\n  <Resource {attributes} />\n</Context>\n'
    return [
        *found,
        RenderedFile(f"{base}/bin/setenv.sh", _SETENV.encode()),
        RenderedFile(f"{base}/conf/context.xml", _CONTEXT.encode(), 0o640, "root", "tomcat"),
        RenderedFile(f"{base}/conf/Catalina/localhost/{CONTEXT}.xml", context.encode(), 0o640, "root", "tomcat"),
    ]


def links(base: str) -> dict[str, str]:
    """Symbolic links that belong to it (path to target): the database's driver."""
    return {f"{base}/lib/mariadb-java-client.jar": "/usr/share/java/mariadb-java-client.jar"}


def tables() -> str:
    """The statements that make its empty table and its account, on the primary."""
    return (
        f"CREATE SCHEMA IF NOT EXISTS {SCHEMA};"
        f"CREATE TABLE IF NOT EXISTS {SCHEMA}.counts (user VARCHAR(64), number INT, repeats INT DEFAULT 0,"
        " PRIMARY KEY (user, number)) ENGINE=InnoDB;"
        + "".join(
            f"CREATE USER IF NOT EXISTS '{ACCOUNT}'@'{host}' IDENTIFIED BY '{PASSWORD}';"
            f"GRANT SELECT, INSERT, UPDATE ON {SCHEMA}.* TO '{ACCOUNT}'@'{host}';"
            for host in ("%", "localhost")
        )
    )
