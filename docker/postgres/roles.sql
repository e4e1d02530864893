-- The roles of Tallystick's services. `tallystick migrate` makes them by itself when its login may create roles; where it may not, an
-- administrator runs this once for each server:
--   psql -d postgres -f docker/postgres/roles.sql
-- What the roles may do is granted by the migrations. They cannot log in: give each service a login of its own that is a member,
--   CREATE ROLE my_api LOGIN PASSWORD '…' IN ROLE tallystick_api;
CREATE ROLE tallystick_ingest NOLOGIN;
CREATE ROLE tallystick_watcher NOLOGIN;
CREATE ROLE tallystick_api NOLOGIN;
