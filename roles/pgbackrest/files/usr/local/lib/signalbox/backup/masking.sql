-- Functions that put made-up values in the place of personal ones, on a scratch server. The same value gives the same
-- made-up one in every table and at every refresh, so references and frequencies stay; without the key nobody can go
-- from a guess to its made-up value. Empty texts and nulls stay what they are.
create schema signalbox_masking;

-- HMAC-SHA-256 (RFC 2104) in hexadecimal; the key's two pads are settings of the session.
create function signalbox_masking.digest(value text) returns text
language sql stable strict parallel safe as $$
  select encode(sha256(current_setting('signalbox.outer_pad')::bytea
    || sha256(current_setting('signalbox.inner_pad')::bytea || convert_to(value, 'UTF8'))), 'hex')
$$;

-- From 0 to below 1.
create function signalbox_masking.fraction(value text) returns double precision
language sql stable strict parallel safe as $$
  select ('x' || left(signalbox_masking.digest(value), 13))::bit(52)::bigint / 4503599627370496.0
$$;

create function signalbox_masking.pseudonym(value text) returns text
language sql stable strict parallel safe as $$
  select case when value = '' then '' else 'p' || left(signalbox_masking.digest(value), 23) end
$$;

-- Version 4 and variant as RFC 9562 has them.
create function signalbox_masking.pseudonym(value uuid) returns uuid
language sql stable strict parallel safe as $$
  select overlay(overlay(left(signalbox_masking.digest(value::text), 32) placing '4' from 13) placing '8' from 17)::uuid
$$;

-- A permutation of the numbers with as many digits, so that what was unique stays unique and sequences keep their
-- order of magnitude: a Feistel network (Luby and Rackoff, 1988) in a power of two, walked until it is in range again
-- (cycle walking: Black and Rogaway, 2002).
create function signalbox_masking.pseudonym(value bigint, largest bigint) returns bigint
language plpgsql stable strict parallel safe as $$
declare
  least_of numeric := case when abs(value::numeric) < 10 then 0 else 10::numeric ^ (length(abs(value::numeric)::text) - 1) end;
  span bigint := least(largest, case when least_of = 0 then 9 else least_of * 10 - 1 end) - least_of + 1;
  half int := 1;
  found bigint := abs(value::numeric) - least_of;
  high bigint;
  low bigint;
  next bigint;
begin
  while (1::numeric * (1::bigint << half)) ^ 2 < span loop half := half + 1; end loop;
  loop
    high := found >> half;
    low := found & ((1::bigint << half) - 1);
    for round in 1..6 loop
      next := ('x' || left(signalbox_masking.digest(format('%s %s %s', round, least_of, low)), 15))::bit(60)::bigint;
      next := high # (next & ((1::bigint << half) - 1));
      high := low;
      low := next;
    end loop;
    found := (high << half) | low;
    exit when found < span;
  end loop;
  return sign(value) * (least_of + found) + case when value = 0 then found else 0 end;
end $$;

-- Addresses of one domain stay addresses of one domain; .example is nobody's (RFC 2606).
create function signalbox_masking.email(value text) returns text
language sql stable strict parallel safe as $$
  select case when value = '' then '' else 'u' || left(signalbox_masking.digest(value), 16)
    || '@d' || left(signalbox_masking.digest(lower(split_part(value, '@', 2))), 8) || '.example' end
$$;

-- As many characters, that look like words.
create function signalbox_masking.filler(value text) returns text
language sql stable strict parallel safe as $$
  select left(repeat(translate(signalbox_masking.digest(value), '0123456789abcdef', 'etaoinshrdlu mc '),
    length(value) / 64 + 1), length(value))
$$;

-- Keys, booleans and the shape stay; texts become filler, numbers noise.
create function signalbox_masking.filler(value jsonb) returns jsonb
language plpgsql stable strict parallel safe as $$
begin
  return case jsonb_typeof(value)
    when 'string' then to_jsonb(signalbox_masking.filler(value #>> '{}'))
    when 'number' then to_jsonb(signalbox_masking.noise((value #>> '{}')::numeric))
    when 'array' then coalesce((select jsonb_agg(signalbox_masking.filler(entry) order by place)
      from jsonb_array_elements(value) with ordinality as entries (entry, place)), value)
    when 'object' then coalesce((select jsonb_object_agg(name, signalbox_masking.filler(entry))
      from jsonb_each(value) as entries (name, entry)), value)
    else value end;
end $$;

create function signalbox_masking.digits(value text) returns text
language sql stable strict parallel safe as $$
  select left(repeat(translate(signalbox_masking.digest(value), 'abcdef', '274951'), length(value) / 64 + 1),
    length(value))
$$;

-- Up to a tenth more or less, with as many decimals.
create function signalbox_masking.noise(value numeric) returns numeric
language sql stable strict parallel safe as $$
  select case when scale(value) is null then value
    else round(value * (0.9 + 0.2 * signalbox_masking.fraction(value::text))::numeric, scale(value)) end
$$;

-- Up to 15 days earlier or later.
create function signalbox_masking.noise(value timestamptz) returns timestamptz
language sql stable strict parallel safe as $$
  select value + (signalbox_masking.fraction(extract(epoch from value)::text) - 0.5) * interval '30 days'
$$;

-- A unique index looks at each row as it changes, when another may still have the value; and building an index anew is
-- faster than changing it row by row. What is not ready is left alone by an update, and made ready by reindex.
create procedure signalbox_masking.pause_indexes(relation regclass) language sql as $$
  update pg_index set indisready = false, indisvalid = false
  where indrelid in (select relation union select relid from pg_partition_tree(relation))
    and (select relkind = 'i' from pg_class where oid = indexrelid)
$$;

create procedure signalbox_masking.make_indexes(relation regclass) language plpgsql as $$
declare part regclass; begin
  for part in select relation union select relid from pg_partition_tree(relation) loop
    if (select relkind = 'r' from pg_class where oid = part) then execute format('reindex table %s', part); end if;
  end loop;
end $$;
