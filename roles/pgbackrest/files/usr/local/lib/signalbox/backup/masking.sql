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

-- A permutation of the numbers below `span`, or its inverse: a Feistel network (Luby and Rackoff, 1988) in a power of
-- two, walked until it is in range again (cycle walking: Black and Rogaway, 2002).
create function signalbox_masking.permuted(value bigint, span bigint, salt numeric, inverse boolean) returns bigint
language plpgsql stable strict parallel safe as $$
declare
  half int := 1;
  found bigint := value;
  high bigint;
  low bigint;
  mixed bigint;
begin
  while (1::numeric * (1::bigint << half)) ^ 2 < span loop half := half + 1; end loop;
  loop
    high := found >> half;
    low := found & ((1::bigint << half) - 1);
    for step in 1..6 loop
      mixed := ('x' || left(signalbox_masking.digest(format('%s %s %s', case when inverse then 7 - step else step end,
        salt, case when inverse then high else low end)), 15))::bit(60)::bigint & ((1::bigint << half) - 1);
      if inverse then
        mixed := low # mixed; low := high; high := mixed;
      else
        mixed := high # mixed; high := low; low := mixed;
      end if;
    end loop;
    found := (high << half) | low;
    exit when found < span;
  end loop;
  return found;
end $$;

-- Another number with as many digits, so that what was unique stays unique and sequences keep their order of magnitude.
-- A step along the circle of all of them in a secret order: none stays what it was.
create function signalbox_masking.pseudonym(value bigint, largest bigint) returns bigint
language plpgsql stable strict parallel safe as $$
declare
  size numeric := abs(value::numeric);
  least_of numeric := case when size >= 10 then 10::numeric ^ (length(size::text) - 1) when value < 0 then 1 else 0 end;
  span bigint := least(largest, case when size < 10 then 9 else least_of * 10 - 1 end) - least_of + 1;
  step bigint := 1 + floor(signalbox_masking.fraction(format('step %s %s', least_of, span)) * (span - 1));
  found bigint := signalbox_masking.permuted((size - least_of)::bigint, span, least_of, false);
begin
  found := case when found >= span - step then found - (span - step) else found + step end;
  found := least_of + signalbox_masking.permuted(found, span, least_of, true);
  return case when value < 0 then -found else found end;
end $$;

-- Addresses of one domain stay addresses of one domain; .example is nobody's (RFC 2606).
create function signalbox_masking.email(value text) returns text
language sql stable strict parallel safe as $$
  select case when value = '' then '' else 'u' || left(signalbox_masking.digest(value), 16)
    || '@d' || left(signalbox_masking.digest(lower(split_part(value, '@', 2))), 8) || '.example' end
$$;

-- As many characters, that look like words. One that is the true one by chance becomes the next.
create function signalbox_masking.filler(value text) returns text
language plpgsql stable strict parallel safe as $$
declare made text := left(repeat(translate(signalbox_masking.digest(value), '0123456789abcdef', 'etaoinshrdlu mc '),
  length(value) / 64 + 1), length(value));
begin
  -- A blank alone would be no value in some types.
  if made like ' %' then made := 'm' || substr(made, 2); end if;
  return case when made = value then translate(made, 'etaoinshrdlumc', 'taoinshrdlumce') else made end;
end $$;

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
language plpgsql stable strict parallel safe as $$
declare made text := left(repeat(translate(signalbox_masking.digest(value), 'abcdef', '274951'), length(value) / 64 + 1),
  length(value));
begin
  return case when made = value then translate(made, '0123456789', '1234567890') else made end;
end $$;

-- Up to a tenth more or less, or two in the last decimal where that is more; never the same, and never below nought
-- for what was not.
create function signalbox_masking.noise(value numeric) returns numeric
language plpgsql stable strict parallel safe as $$
declare
  unit numeric := 10::numeric ^ -scale(value);
  made numeric := value + round((signalbox_masking.fraction(value::text) * 2 - 1)::numeric
    * greatest(abs(value) / 10, 2 * unit), scale(value));
begin
  if scale(value) is null then return value; end if;
  if value >= 0 then made := abs(made); end if;
  return case when made = value then value + unit else made end;
end $$;

-- One to 15 days earlier or later.
create function signalbox_masking.noise(value timestamptz) returns timestamptz
language sql stable strict parallel safe as $$
  select value + (case when part < 0.5 then -1 else 1 end) * (1 + 14 * abs(2 * part - 1)) * interval '1 day'
  from (select signalbox_masking.fraction(extract(epoch from value)::text)) as fraction (part)
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

-- What is always to fire would write true values elsewhere, or back. Rules as well.
create table signalbox_masking.paused (catalogue regclass, entry oid, state "char");

create procedure signalbox_masking.pause_triggers() language sql as $$
  insert into signalbox_masking.paused
    select 'pg_trigger'::regclass, oid, tgenabled from pg_trigger where not tgisinternal and tgenabled in ('A', 'R')
    union all select 'pg_rewrite'::regclass, oid, ev_enabled from pg_rewrite where ev_type <> '1' and ev_enabled in ('A', 'R');
  update pg_trigger set tgenabled = 'D' where oid in (select entry from signalbox_masking.paused);
  update pg_rewrite set ev_enabled = 'D' where oid in (select entry from signalbox_masking.paused);
$$;

create procedure signalbox_masking.resume_triggers() language sql as $$
  update pg_trigger set tgenabled = state from signalbox_masking.paused
    where catalogue = 'pg_trigger'::regclass and oid = entry;
  update pg_rewrite set ev_enabled = state from signalbox_masking.paused
    where catalogue = 'pg_rewrite'::regclass and oid = entry;
$$;
