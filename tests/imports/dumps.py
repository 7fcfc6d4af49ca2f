"""Dumps as the servers' own tools write them, and files that give them piece by piece."""

import io
from collections.abc import Iterable, Mapping, Sequence

Value = str | int | bytes | None
Tables = Mapping[str, tuple[str, Sequence[Sequence[Value]]]]
"""By name: what stands between the parentheses of CREATE TABLE, and the rows."""

_MYSQL = {"\0": "\\0", "\n": "\\n", "\r": "\\r", "\\": "\\\\", "'": "\\'", '"': '\\"', "\x1a": "\\Z"}
_COPY = {"\\": "\\\\", "\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t", "\v": "\\v"}


def mysql_value(value: Value) -> str:
    """As mysqldump writes it, bytes as with --hex-blob."""
    if value is None:
        return "NULL"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, bytes):
        return "0x" + value.hex().upper() if value else "''"
    return "'" + "".join(_MYSQL.get(sign, sign) for sign in value) + "'"


def mysql_rows(table: str, rows: Iterable[Sequence[Value]]) -> str:
    """One INSERT with all the rows."""
    listed = ",".join("(" + ",".join(map(mysql_value, row)) + ")" for row in rows)
    return f"INSERT INTO `{table}` VALUES {listed};\n" if listed else ""


def mysql_dump(tables: Tables) -> bytes:
    """A dump of some tables, in the order of their names, as mysqldump has it."""
    parts = [
        "-- MySQL dump 10.13  Distrib 8.0.36, for Linux (x86_64)\n--\n-- Host: localhost    Database: example\n",
        "/*!40101 SET @OLD_CHARACTER_SET_CLIENT=@@CHARACTER_SET_CLIENT */;\n/*!50503 SET NAMES utf8mb4 */;\n",
        "/*!40101 SET @OLD_SQL_MODE=@@SQL_MODE, SQL_MODE='NO_AUTO_VALUE_ON_ZERO' */;\n\n",
    ]
    for name, (columns, rows) in sorted(tables.items()):
        parts += [
            f"--\n-- Table structure for table `{name}`\n--\n\nDROP TABLE IF EXISTS `{name}`;\n",
            "/*!40101 SET @saved_cs_client     = @@character_set_client */;\n",
            f"CREATE TABLE `{name}` (\n{columns}\n) ENGINE=InnoDB AUTO_INCREMENT=9 DEFAULT CHARSET=utf8mb4;\n",
            f"LOCK TABLES `{name}` WRITE;\n/*!40000 ALTER TABLE `{name}` DISABLE KEYS */;\n",
            mysql_rows(name, rows),
            f"/*!40000 ALTER TABLE `{name}` ENABLE KEYS */;\nUNLOCK TABLES;\n\n",
        ]
    parts.append("/*!40101 SET SQL_MODE=@OLD_SQL_MODE */;\n\n-- Dump completed on 2026-11-21 10:00:00\n")
    return "".join(parts).encode()


def copy_value(value: str | None) -> str:
    """As pg_dump writes it into the rows of COPY."""
    return "\\N" if value is None else "".join(_COPY.get(sign, sign) for sign in value)


def postgresql_head() -> str:
    """How a dump of pg_dump begins."""
    return (
        "--\n-- PostgreSQL database dump\n--\n\n\\restrict 0aBc\n\nSET statement_timeout = 0;\n"
        "SET client_encoding = 'UTF8';\nSET standard_conforming_strings = on;\n"
    )


class Pieces(io.BytesIO):
    """A file that gives no more than so many bytes at a time, in turn."""

    def __init__(self, body: bytes, sizes: Sequence[int]) -> None:
        super().__init__(body)
        self._sizes = sizes
        self._reads = 0

    def read(self, size: int | None = -1, /) -> bytes:
        """The next bytes."""
        self._reads += 1
        most = self._sizes[self._reads % len(self._sizes)]
        return super().read(most if size is None or size < 0 else min(size, most))
