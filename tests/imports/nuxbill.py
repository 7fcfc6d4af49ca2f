"""A database of PHPNuxBill: its tables with their columns, and customers as they should not be."""

from collections.abc import Sequence

from tests.imports.dumps import Value

_ID = "  `id` int(10) NOT NULL"
CUSTOMERS = f"""{_ID},
  `username` varchar(45) NOT NULL,
  `password` varchar(45) NOT NULL,
  `photo` varchar(128) NOT NULL DEFAULT '/user.default.jpg',
  `pppoe_username` varchar(32) NOT NULL DEFAULT '' COMMENT 'For PPPOE Login',
  `pppoe_password` varchar(45) NOT NULL DEFAULT '' COMMENT 'For PPPOE Login',
  `pppoe_ip` varchar(32) NOT NULL DEFAULT '' COMMENT 'For PPPOE Login',
  `fullname` varchar(45) NOT NULL,
  `address` mediumtext CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci,
  `city` varchar(255) DEFAULT NULL,
  `district` varchar(255) DEFAULT NULL,
  `state` varchar(255) DEFAULT NULL,
  `zip` varchar(10) DEFAULT NULL,
  `phonenumber` varchar(20) DEFAULT '0',
  `email` varchar(128) NOT NULL DEFAULT '1',
  `coordinates` varchar(50) NOT NULL DEFAULT '' COMMENT 'Latitude and Longitude coordinates',
  `account_type` enum('Business','Personal') DEFAULT 'Personal' COMMENT 'For selecting account type',
  `balance` decimal(15,2) NOT NULL DEFAULT '0.00' COMMENT 'For Money Deposit',
  `service_type` enum('Hotspot','PPPoE','VPN','Others') DEFAULT 'Others' COMMENT 'For selecting user type',
  `auto_renewal` tinyint(1) NOT NULL DEFAULT '1' COMMENT 'Auto renewall using balance',
  `status` enum('Active','Banned','Disabled','Inactive','Limited','Suspended') NOT NULL DEFAULT 'Active',
  `created_by` int(11) NOT NULL DEFAULT '0',
  `created_at` timestamp NOT NULL DEFAULT CURRENT_TIMESTAMP,
  `last_login` datetime DEFAULT NULL,
  PRIMARY KEY (`id`)"""
PLANS = f"""{_ID},
  `name_plan` varchar(40) NOT NULL,
  `id_bw` int(10) NOT NULL,
  `price` varchar(40) NOT NULL,
  `price_old` varchar(40) NOT NULL DEFAULT '',
  `type` enum('Hotspot','PPPOE','VPN','Balance') NOT NULL,
  `typebp` enum('Unlimited','Limited') DEFAULT NULL,
  `validity` int(10) NOT NULL,
  `validity_unit` enum('Mins','Hrs','Days','Months','Period') NOT NULL,
  `routers` varchar(32) NOT NULL,
  `enabled` tinyint(1) NOT NULL DEFAULT '1' COMMENT '0 disabled\\r\\n',
  `on_login` text,
  PRIMARY KEY (`id`)"""
BANDWIDTH = f"""{_ID} AUTO_INCREMENT,
  `name_bw` varchar(255) NOT NULL,
  `rate_down` int(10) UNSIGNED NOT NULL,
  `rate_down_unit` enum('Kbps','Mbps') NOT NULL,
  `rate_up` int(10) UNSIGNED NOT NULL,
  `rate_up_unit` enum('Kbps','Mbps') NOT NULL,
  `burst` varchar(128) NOT NULL DEFAULT '',
  PRIMARY KEY (`id`)"""
RECHARGES = f"""{_ID},
  `customer_id` int(10) NOT NULL,
  `username` varchar(32) NOT NULL,
  `plan_id` int(10) NOT NULL,
  `namebp` varchar(40) NOT NULL,
  `recharged_on` date NOT NULL,
  `recharged_time` time NOT NULL DEFAULT '00:00:00',
  `expiration` date NOT NULL,
  `time` time NOT NULL,
  `status` varchar(20) NOT NULL,
  `method` varchar(128) NOT NULL DEFAULT '',
  `routers` varchar(32) NOT NULL,
  `type` varchar(15) NOT NULL,
  `admin_id` int(11) NOT NULL DEFAULT '1',
  PRIMARY KEY (`id`)"""
APPCONFIG = f"{_ID},\n  `setting` mediumtext NOT NULL,\n  `value` mediumtext"
FIELDS = f"{_ID},\n  `customer_id` int NOT NULL,\n  `field_name` varchar(255) NOT NULL,\n  `field_value` text NOT NULL"
LOGS = f"{_ID},\n  `date` datetime DEFAULT NULL,\n  `description` mediumtext NOT NULL"

Line = Sequence[Value]


def customer(number: int, username: str, password: str, **given: Value) -> Line:
    """A row of tbl_customers; what is not given is as its default."""
    row: dict[str, Value] = {
        **{"id": number, "username": username, "password": password, "photo": "/user.default.jpg"},
        **{"pppoe_username": "", "pppoe_password": "", "pppoe_ip": "", "fullname": f"Example {number}"},
        **{"address": None, "city": None, "district": None, "state": None, "zip": None, "phonenumber": "0"},
        **{"email": "1", "coordinates": "", "account_type": "Personal", "balance": "0.00", "service_type": "Others"},
        **{"auto_renewal": 1, "status": "Active", "created_by": 0, "created_at": "2024-05-23 06:29:11"},
        "last_login": None,
    }
    assert given.keys() <= row.keys()
    return [*(row | given).values()]


def recharge(number: int, customer_id: int, username: str, plan: tuple[int, str], until: str, **given: str) -> Line:
    """A row of tbl_user_recharges."""
    date, _, time = until.partition(" ")
    row = {"status": "on", "routers": "north", "type": "PPPOE"} | given
    bought = [number, customer_id, username, *plan, "2026-10-21", "09:00:00", date, time, row["status"]]
    return [*bought, "Admin - Example", row["routers"], row["type"], 1]


PLAN_ROWS: list[Line] = [
    [1, "Home 10M", 1, "1500", "", "PPPOE", "Unlimited", 1, "Months", "north", 1, None],
    [2, "Hotspot ½ day", 2, "20.50", "", "Hotspot", "Limited", 12, "Hrs", "north", 1, ':log info "it\'s"\n'],
    [3, "Home 10M", 2, "900", "", "PPPOE", "Unlimited", 30, "Days", "south", 0, None],
    [4, "Top-up 100", 0, "100", "", "Balance", "Unlimited", 0, "Days", "", 1, None],
    [5, "Lost", 99, "1.500,00", "", "VPN", "Unlimited", 2, "Period", "radius", 1, None],
    [6, "Hotspot day", 2, "35", "", "Hotspot", "Unlimited", 24, "Hrs", "north", 1, None],
]
BANDWIDTH_ROWS: list[Line] = [[1, "10M", 10, "Mbps", 5, "Mbps", ""], [2, "half", 512, "Kbps", 256, "Kbps", "1M/1M"]]
CUSTOMER_ROWS: list[Line] = [
    customer(
        *(1, "rahim", "portal'pass"),
        **{"pppoe_username": "rahim-net", "pppoe_password": 'net"pass\\', "pppoe_ip": "10.64.0.9"},
        **{"fullname": "রহিম উদ্দিন 😀", "address": '12 O\'Brien "Lane"\nFlat 3', "city": "ঢাকা", "district": "Mirpur"},
        **{"state": "Dhaka", "zip": "1216", "phonenumber": "01711000001", "email": "rahim@example.com"},
        **{"coordinates": "23.8,90.4", "balance": "250.75", "service_type": "PPPoE"},
    ),
    customer(2, "karim", "secret2", service_type="Hotspot", balance="-40.25"),
    customer(3, "nobody", "secret3", fullname=""),
    customer(4, "banned", "secret4", status="Banned", service_type="PPPoE", balance="10.00"),
    customer(5, "limited", "secret5", status="Limited", service_type="PPPoE"),
    customer(6, "karim", "secret6", fullname="Another Karim"),
    customer(7, "byname", "secret7", service_type="PPPoE"),
    customer(8, "zero", "secret8", service_type="PPPoE", created_at="0000-00-00 00:00:00"),
]
RECHARGE_ROWS: list[Line] = [
    recharge(1, 1, "rahim", (1, "Home 10M old name"), "2026-12-21 14:30:05"),
    recharge(2, 1, "rahim", (6, "Hotspot day"), "2026-12-01 10:00:00", type="Hotspot", routers="south"),
    recharge(3, 1, "rahim", (3, "Home 10M"), "2027-06-01 00:00:00", status="off"),
    recharge(4, 2, "karim", (2, "Hotspot ½ day"), "2026-11-01 23:59:59", status="off", type="Hotspot"),
    recharge(5, 4, "banned", (1, "Home 10M"), "2026-12-31 08:00:00"),
    recharge(6, 5, "limited", (77, "Gone"), "2026-12-31 08:00:00"),
    recharge(7, 0, "byname", (3, "Home 10M"), "2026-12-31 08:00:00"),
    recharge(8, 999, "orphan", (1, "Home 10M"), "2026-12-31 08:00:00"),
    recharge(9, 8, "zero", (1, "Home 10M"), "0000-00-00 00:00:00"),
]
TABLES = {
    "tbl_appconfig": (APPCONFIG, [[1, "CompanyName", "Example Net"], [6, "timezone", "Asia/Dhaka"]]),
    "tbl_bandwidth": (BANDWIDTH, BANDWIDTH_ROWS),
    "tbl_customers": (CUSTOMERS, CUSTOMER_ROWS),
    "tbl_customers_fields": (FIELDS, [[1, 1, "ONU", "ZTE-12'3"], [2, 1, "Empty", ""], [3, 404, "ONU", "orphan"]]),
    "tbl_logs": (LOGS, [[1, "2026-11-01 00:00:00", "'); INSERT INTO `tbl_customers` VALUES (1);\\"]]),
    "tbl_plans": (PLANS, PLAN_ROWS),
    "tbl_user_recharges": (RECHARGES, RECHARGE_ROWS),
}
