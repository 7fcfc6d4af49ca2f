"""FreeRADIUS as its package has it: Debian's queries and schema, in a database of its own on the same PostgreSQL.

Threads, connections and what is logged are as in the product's configuration. The one client stands in a file, and no
groups are asked for, which is in its favour.
"""

import os
import pwd
import subprocess
from pathlib import Path

from bench.network_house import House
from ispgraph.up.postgres import SUPERUSER

_PACKAGE = Path("/etc/freeradius/3.0")
_QUERIES = _PACKAGE / "mods-config/sql/main/postgresql"
_RADIUSD = """
name = stock
prefix = /usr
localstatedir = "{directory}"
libdir = /usr/lib/freeradius
confdir = "{directory}"
modconfdir = ${{confdir}}
db_dir = ${{confdir}}
run_dir = ${{confdir}}/run
logdir = ${{confdir}}/log
pidfile = ${{run_dir}}/radiusd.pid
max_request_time = 10
cleanup_delay = 5
max_requests = 16384
hostname_lookups = no
proxy_requests = no
log {{
	destination = files
	file = ${{logdir}}/radius.log
	auth = yes
}}
security {{
	{user}
	max_attributes = 200
	reject_delay = 0
	status_server = no
}}
thread pool {{
	start_servers = 2
	max_servers = 8
	min_spare_servers = 1
	max_spare_servers = 4
	max_requests_per_server = 0
}}
instantiate {{
	expr
}}
modules {{
	expr {{
	}}
	pap {{
		normalise = no
	}}
	sql {{
		dialect = "postgresql"
		driver = "rlm_sql_postgresql"
		radius_db = "{connection}"
		acct_table1 = "radacct"
		acct_table2 = "radacct"
		postauth_table = "radpostauth"
		authcheck_table = "radcheck"
		groupcheck_table = "radgroupcheck"
		authreply_table = "radreply"
		groupreply_table = "radgroupreply"
		usergroup_table = "radusergroup"
		group_attribute = "SQL-Group"
		client_table = "nas"
		delete_stale_sessions = yes
		read_clients = no
		read_groups = no
		read_profiles = no
		pool {{
			start = 0
			min = 0
			max = 8
			spare = 2
			uses = 0
			lifetime = 3600
			idle_timeout = 300
			retry_delay = 1
		}}
		$INCLUDE {queries}
	}}
}}
policy {{
	$INCLUDE {policy}
}}
client routers {{
	ipaddr = 127.0.0.0/8
	secret = "{secret}"
}}
server stock {{
	listen {{
		type = acct
		ipv4addr = 127.0.0.1
		port = {port}
	}}
	listen {{
		type = auth
		ipv4addr = 127.0.0.1
		port = {auth_port}
	}}
	authorize {{
		update reply {{
			&Message-Authenticator := 0x00
		}}
		sql
		pap
	}}
	authenticate {{
		Auth-Type PAP {{
			pap
		}}
	}}
	preacct {{
		acct_unique
	}}
	accounting {{
		sql
	}}
}}
"""


class Stock:
    """Its database and its directory."""

    DATABASE = "stock"

    def __init__(self, house: House, port: int, auth_port: int, secret: str) -> None:
        self._house = house
        self._port, self._auth_port = port, auth_port
        self._secret = secret

    def write(self, directory: Path) -> Path:
        """Make both; the directory."""
        postgres = self._house.postgres
        postgres.execute(f"CREATE DATABASE {self.DATABASE}")
        postgres.execute((_QUERIES / "schema.sql").read_text(), self.DATABASE)
        # Not the owner's, so that the policies of roles cost it nothing: it has none.
        role, password = SUPERUSER, postgres.superuser_dsn(self.DATABASE).split(":")[2].split("@")[0]
        for place in (directory, directory / "run", directory / "log"):
            place.mkdir()
            place.chmod(0o755)
        for source in (_QUERIES / "queries.conf", _PACKAGE / "policy.d" / "accounting"):
            (directory / source.name).write_text(source.read_text())
        root = os.geteuid() == 0
        connection = f"host=127.0.0.1 port={postgres.port} dbname={self.DATABASE} user={role} password={password}"
        text = _RADIUSD.format(
            directory=directory,
            user="user = freerad\n\tgroup = freerad" if root else "",
            connection=connection,
            queries=directory / "queries.conf",
            policy=directory / "accounting",
            secret=self._secret,
            port=self._port,
            auth_port=self._auth_port,
        )
        (directory / "radiusd.conf").write_text(text)
        if root:
            account = pwd.getpwnam("freerad")
            subprocess.run(["chown", "-R", f"{account.pw_uid}:{account.pw_gid}", str(directory)], check=True)
        return directory
