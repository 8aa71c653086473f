-- The database that the labelled cases are about. Sizes stand in shop.yml: no row is needed to judge.
-- The owner makes tables; shop is the group that its two logins, one per slot, take their rights from.
CREATE TYPE order_state AS ENUM ('new', 'paid', 'sent');
CREATE TYPE ticket_state AS ENUM ('open', 'closed');

CREATE TABLE customers (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    email varchar(100) NOT NULL,
    name text NOT NULL,
    phone varchar(20),
    country char(2),
    created_at timestamptz NOT NULL DEFAULT now()
);
CREATE UNIQUE INDEX uq_customers_email ON customers (email);

CREATE TABLE products (
    id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    sku text NOT NULL,
    title varchar(200),
    price numeric(10, 2) NOT NULL DEFAULT 0,
    stock integer NOT NULL DEFAULT 0,
    colour text,
    supplier_id bigint
);
CREATE UNIQUE INDEX uq_products_sku ON products (sku);

CREATE TABLE orders (
    id bigserial PRIMARY KEY,
    customer_id bigint NOT NULL REFERENCES customers (id) ON DELETE CASCADE,
    state order_state NOT NULL DEFAULT 'new',
    total numeric(12, 2) NOT NULL CONSTRAINT orders_total_check CHECK (total >= 0),
    quantity integer NOT NULL DEFAULT 1,
    token uuid NOT NULL CONSTRAINT uq_orders_token UNIQUE,
    note text,
    coupon text,
    legacy text,
    placed_at timestamp,
    archived_at timestamp,
    channel text DEFAULT 'web'
);
CREATE INDEX ix_orders_customer ON orders (customer_id);
CREATE INDEX ix_orders_legacy ON orders (legacy);

CREATE TABLE order_lines (
    order_id bigint NOT NULL REFERENCES orders (id),
    line integer NOT NULL,
    product_id integer NOT NULL,
    amount integer NOT NULL,
    PRIMARY KEY (order_id, line)
);

CREATE TABLE invoices (
    number bigserial PRIMARY KEY,
    order_id bigint NOT NULL,
    issued_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT uq_invoices_order UNIQUE (order_id)
);

CREATE TABLE settings (
    key text PRIMARY KEY,
    value text
);

CREATE TABLE events (
    at timestamptz NOT NULL,
    kind text NOT NULL,
    payload jsonb
) PARTITION BY RANGE (at);
CREATE TABLE events_2026_10 PARTITION OF events FOR VALUES FROM ('2026-10-01 00:00+00') TO ('2026-11-01 00:00+00');
CREATE TABLE events_2026_11 PARTITION OF events FOR VALUES FROM ('2026-11-01 00:00+00') TO ('2026-12-01 00:00+00');
CREATE TABLE events_default PARTITION OF events DEFAULT;
CREATE TABLE events_2026_12 (at timestamptz NOT NULL, kind text NOT NULL, payload jsonb);

-- No statement of the serving release touches these.
CREATE TABLE audit (
    id bigint NOT NULL,
    actor text,
    at timestamp NOT NULL,
    score integer,
    state ticket_state
);
CREATE UNIQUE INDEX uq_audit_id ON audit (id);
CREATE UNIQUE INDEX uq_audit_actor ON audit (actor);
CREATE TABLE imports (id bigint, line text);
CREATE TABLE suppliers (id bigint PRIMARY KEY, name text);

CREATE VIEW open_orders AS SELECT id, customer_id, total, state FROM orders WHERE state = 'new';
CREATE VIEW old_report AS SELECT id, title FROM products;
CREATE MATERIALIZED VIEW sales AS SELECT customer_id, sum(total) AS total FROM orders GROUP BY customer_id;
CREATE UNIQUE INDEX uq_sales ON sales (customer_id);

CREATE FUNCTION order_total(bigint) RETURNS numeric LANGUAGE sql STABLE
    AS 'SELECT sum(amount) FROM order_lines WHERE order_id = $1';
CREATE FUNCTION slug(text) RETURNS text LANGUAGE sql IMMUTABLE AS 'SELECT lower($1)';
CREATE FUNCTION ticket() RETURNS text LANGUAGE sql VOLATILE AS 'SELECT md5(random()::text)';
CREATE FUNCTION nobody_calls_it() RETURNS integer LANGUAGE sql AS 'SELECT 1';
CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.note := coalesce(NEW.note, ''); RETURN NEW; END $$;
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql
    AS $$ BEGIN IF NEW.note IS NULL THEN RAISE EXCEPTION 'no note'; END IF; RETURN NEW; END $$;
CREATE TRIGGER touch BEFORE INSERT ON orders FOR EACH ROW EXECUTE FUNCTION touch();
CREATE TRIGGER touch_audit BEFORE INSERT ON audit FOR EACH ROW EXECUTE FUNCTION touch();
CREATE SEQUENCE spare;
