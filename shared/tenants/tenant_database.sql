-- In a tenant's new database: nobody but its own roles comes in, and nobody makes anything in schema public.

REVOKE ALL ON DATABASE {{database}} FROM public;
REVOKE ALL ON SCHEMA public FROM public;
GRANT CONNECT ON DATABASE {{database}} TO {{auditor}};
ALTER ROLE {{auditor}} IN DATABASE {{database}} SET default_transaction_read_only = on;
