-- The roles and the database of ispgraph, for psql as a superuser: once, and again when a password has changed.
--   set -a; . ./database.env; psql -v ON_ERROR_STOP=1 -f roles.sql
-- None of the roles is a superuser. ispgraph_backup alone reads past row-level security, and can write nothing.

\getenv owner OWNER_PASSWORD
\getenv app APP_PASSWORD
\getenv radius RADIUS_PASSWORD
\getenv backup BACKUP_PASSWORD

set log_min_error_statement = panic;  -- passwords stay out of the server's log
set log_statement = none;
set client_min_messages = warning;

select format('create role %I', wanted)
from unnest(array['ispgraph_owner', 'ispgraph_app', 'ispgraph_radius', 'ispgraph_backup']) wanted
where not exists (select from pg_roles where rolname = wanted) \gexec
alter role ispgraph_owner login nosuperuser nobypassrls nocreatedb nocreaterole password :'owner';
alter role ispgraph_app login nosuperuser nobypassrls nocreatedb nocreaterole password :'app';
alter role ispgraph_radius login nosuperuser nobypassrls nocreatedb nocreaterole password :'radius';
alter role ispgraph_backup login nosuperuser bypassrls nocreatedb nocreaterole password :'backup';
grant pg_read_all_data to ispgraph_backup;

select 'create database ispgraph owner ispgraph_owner encoding ''UTF8'' template template0'
where not exists (select from pg_database where datname = 'ispgraph') \gexec
revoke all on database ispgraph from public;
grant connect on database ispgraph to ispgraph_app, ispgraph_radius, ispgraph_backup;
