// The JDBC driver: text, then binary transfer of prepared statements, portals with row limits.
// Run by `java -cp postgresql.jar Checks.java`.

import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.StringReader;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.MessageDigest;
import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.sql.SQLWarning;
import java.sql.Savepoint;
import java.sql.Statement;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HexFormat;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import org.postgresql.PGConnection;
import org.postgresql.util.PSQLException;
import org.postgresql.util.ServerErrorMessage;

public class Checks {
    static final String DDL =
        "create temporary table wire_check (id int constraint wire_check_pkey primary key, body text,"
        + " amount numeric(10,2) constraint wire_check_amount check (amount >= 0), data bytea)";
    static final String UNICODE =
        "Zo\u00eb M\u00fcller \u00b7 \u7530\u4e2d \u00b7 \ud83d\udc69 \u200f\u05e9\u05dc O'Brien \\ \"x\"\n\ttab";

    interface Check {
        Object run(Connection c) throws Exception;
    }

    static Connection connect() throws SQLException {
        Map<String, String> env = System.getenv();
        Properties p = new Properties();
        p.setProperty("user", env.get("PGUSER"));
        p.setProperty("password", env.get("PGPASSWORD"));
        p.setProperty("sslmode", env.get("PGSSLMODE"));
        p.setProperty("gssEncMode", "disable");
        p.setProperty("loginTimeout", "20");
        if (env.containsKey("PGSSLROOTCERT")) {
            p.setProperty("sslrootcert", env.get("PGSSLROOTCERT"));
        }
        String host = env.get("PGHOST") + ":" + env.get("PGPORT");
        return DriverManager.getConnection("jdbc:postgresql://" + host + "/" + env.get("PGDATABASE"), p);
    }

    static List<List<Object>> rows(ResultSet r) throws SQLException {
        List<List<Object>> found = new ArrayList<>();
        int columns = r.getMetaData().getColumnCount();
        while (r.next()) {
            List<Object> row = new ArrayList<>();
            for (int i = 1; i <= columns; i++) {
                // In binary transfer getString of bytea is the array's identity.
                boolean bytes = r.getMetaData().getColumnTypeName(i).equals("bytea");
                row.add(bytes && r.getBytes(i) != null ? HexFormat.of().formatHex(r.getBytes(i)) : r.getString(i));
            }
            found.add(row);
        }
        return found;
    }

    static List<List<Object>> query(Connection c, String sql) throws SQLException {
        try (Statement s = c.createStatement(); ResultSet r = s.executeQuery(sql)) {
            return rows(r);
        }
    }

    static void execute(Connection c, String sql) throws SQLException {
        try (Statement s = c.createStatement()) {
            s.execute(sql);
        }
    }

    static void expect(boolean condition, Object what) {
        if (!condition) {
            throw new AssertionError("expected otherwise: " + what);
        }
    }

    static String refused(Connection c, String sql) throws SQLException {
        try {
            execute(c, sql);
        } catch (PSQLException e) {
            ServerErrorMessage m = e.getServerErrorMessage();
            return String.join("|", Arrays.asList(m.getSeverity(), m.getSQLState(), m.getMessage(), m.getDetail(),
                m.getHint(), String.valueOf(m.getPosition()), m.getConstraint(), m.getTable(), m.getRoutine()));
        }
        throw new AssertionError("the server took: " + sql);
    }

    static Object simpleQuery(Connection c) throws Exception {
        return List.of(query(c, "select 1 as a, 'x' as b"), c.isValid(5));
    }

    static Object multiStatement(Connection c) throws Exception {
        List<Object> found = new ArrayList<>();
        try (Statement s = c.createStatement()) {
            boolean more = s.execute("select 1; select 'two'; select 3, 4");
            while (more) {
                found.add(rows(s.getResultSet()));
                more = s.getMoreResults();
            }
        }
        return found;
    }

    static Object extendedQuery(Connection c) throws Exception {
        String sql = "select ?::int + 1, ?::text, ?::numeric, ?::date, ?::int";
        try (PreparedStatement s = c.prepareStatement(sql)) {
            s.setInt(1, 41);
            s.setString(2, "it's");
            s.setBigDecimal(3, new java.math.BigDecimal("1.50"));
            s.setDate(4, java.sql.Date.valueOf("2026-03-04"));
            s.setNull(5, java.sql.Types.INTEGER);
            return rows(s.executeQuery());
        }
    }

    // From the fifth use on the driver names the statement and asks for binary results.
    static Object preparedReuse(Connection c) throws Exception {
        List<Object> found = new ArrayList<>();
        String sql = "select ?::int * 2, ?::float8, ?::timestamp, ?::bytea";
        try (PreparedStatement s = c.prepareStatement(sql)) {
            for (int i = 0; i < 50; i++) {
                s.setInt(1, i);
                s.setDouble(2, i / 8.0);
                s.setTimestamp(3, java.sql.Timestamp.valueOf("2026-03-04 05:06:07.891"));
                s.setBytes(4, new byte[] {0, (byte) i});
                found.add(rows(s.executeQuery()));
            }
        }
        return found;
    }

    static Object cursorFetch(Connection c) throws Exception {
        c.setAutoCommit(false);
        int count = 0;
        long sum = 0;
        try (Statement s = c.createStatement()) {
            s.setFetchSize(300);
            ResultSet r = s.executeQuery("select i from generate_series(1, 1000) i");
            while (r.next()) {
                count++;
                sum += r.getInt(1);
            }
            expect(count == 1000, count);
        }
        c.commit();
        return List.of(count, sum);
    }

    static Object batch(Connection c) throws Exception {
        execute(c, DDL);
        try (PreparedStatement s = c.prepareStatement("insert into wire_check (id, body) values (?, ?)")) {
            for (int i = 0; i < 500; i++) {
                s.setInt(1, i);
                s.setString(2, UNICODE);
                s.addBatch();
            }
            int[] counts = s.executeBatch();
            return List.of(counts.length, query(c, "select * from wire_check order by id"));
        }
    }

    static Object batchError(Connection c) throws Exception {
        execute(c, DDL);
        try (Statement s = c.createStatement()) {
            s.addBatch("insert into wire_check values (1, 'a')");
            s.addBatch("insert into wire_check values (1, 'b')");
            s.addBatch("insert into wire_check values (2, 'c')");
            s.executeBatch();
            throw new AssertionError("the server took it");
        } catch (java.sql.BatchUpdateException e) {
            return List.of(e.getSQLState(), query(c, "select id, body from wire_check order by id"));
        }
    }

    static Object copyText(Connection c) throws Exception {
        execute(c, DDL);
        StringBuilder lines = new StringBuilder();
        for (int i = 0; i < 5000; i++) {
            lines.append(i).append("\t\u00fcn\u00ef ").append(i).append('\t').append(i).append(".25\t\\\\x00ff\n");
        }
        var copy = c.unwrap(PGConnection.class).getCopyAPI();
        long in = copy.copyIn("copy wire_check from stdin", new StringReader(lines.toString()));
        ByteArrayOutputStream out = new ByteArrayOutputStream();
        long back = copy.copyOut("copy (select * from wire_check order by id) to stdout", out);
        return List.of(in, back, out.toString(StandardCharsets.UTF_8));
    }

    static Object copyCsv(Connection c) throws Exception {
        execute(c, DDL);
        var copy = c.unwrap(PGConnection.class).getCopyAPI();
        copy.copyIn("copy wire_check (id, body) from stdin with (format csv, header)",
            new StringReader("id,body\n1,\"a \"\"quoted\"\", text\"\n2,\n3,plain\n"));
        ByteArrayOutputStream out = new ByteArrayOutputStream();
        copy.copyOut("copy (select * from wire_check order by id) to stdout with (format csv, header)", out);
        return out.toString(StandardCharsets.UTF_8);
    }

    static Object copyBinary(Connection c) throws Exception {
        execute(c, DDL);
        execute(c, "insert into wire_check (id, data) select i, '\\x00ff' from generate_series(1, 1000) i");
        var copy = c.unwrap(PGConnection.class).getCopyAPI();
        String sql = "copy (select id, data from wire_check order by id) to stdout (format binary)";
        ByteArrayOutputStream before = new ByteArrayOutputStream();
        copy.copyOut(sql, before);
        execute(c, "truncate wire_check");
        copy.copyIn("copy wire_check (id, data) from stdin (format binary)",
            new ByteArrayInputStream(before.toByteArray()));
        ByteArrayOutputStream after = new ByteArrayOutputStream();
        copy.copyOut(sql, after);
        expect(Arrays.equals(before.toByteArray(), after.toByteArray()), "not the same bytes");
        return HexFormat.of().formatHex(after.toByteArray());
    }

    static Object copyAbandoned(Connection c) throws Exception {
        execute(c, DDL);
        var copy = c.unwrap(PGConnection.class).getCopyAPI().copyIn("copy wire_check from stdin");
        copy.writeToCopy("1\tx\t1\t\\N\n".getBytes(StandardCharsets.UTF_8), 0, 9);
        copy.cancelCopy();
        return query(c, "select count(*) from wire_check");
    }

    static Object transactionError(Connection c) throws Exception {
        execute(c, DDL);
        c.setAutoCommit(false);
        execute(c, "insert into wire_check values (1, 'kept')");
        Savepoint s = c.setSavepoint("s");
        List<Object> states = new ArrayList<>();
        states.add(refused(c, "insert into wire_check values (1, 'again')"));
        states.add(refused(c, "select 1"));
        c.rollback(s);
        execute(c, "insert into wire_check values (2, 'after')");
        c.commit();
        return List.of(states, query(c, "select id, body from wire_check order by id"));
    }

    static Object notice(Connection c) throws Exception {
        List<Object> seen = new ArrayList<>();
        try (Statement s = c.createStatement()) {
            s.execute("do $$ begin raise notice 'first %', 1 using detail = 'the detail'; raise warning 'second'; end $$");
            for (SQLWarning w = s.getWarnings(); w != null; w = w.getNextWarning()) {
                seen.add(w.getSQLState() + "|" + w.getMessage());
            }
        }
        expect(seen.size() == 2, seen);
        return seen;
    }

    static Object listenNotify(Connection c) throws Exception {
        execute(c, "listen wire_channel");
        try (Connection other = connect()) {
            execute(other, "notify wire_channel, 'hello'");
        }
        var heard = c.unwrap(PGConnection.class).getNotifications(10_000);
        expect(heard != null && heard.length == 1, "nothing heard");
        return heard[0].getName() + "|" + heard[0].getParameter();
    }

    static Object errorFields(Connection c) throws Exception {
        execute(c, DDL);
        return List.of(
            refused(c, "insert into wire_check values (1), (1)"),
            refused(c, "insert into wire_check values (2, 'x', -1)"),
            refused(c, "select 1 from no_such_table"),
            refused(c, "select '\u00e9', nonsense( 1 )"));
    }

    static Object unicode(Connection c) throws Exception {
        try (PreparedStatement s = c.prepareStatement("select ?::text, length(?::text)")) {
            s.setString(1, UNICODE);
            s.setString(2, UNICODE);
            List<List<Object>> found = rows(s.executeQuery());
            expect(found.get(0).get(0).equals(UNICODE), found);
            return found;
        }
    }

    static Object bytea1mb(Connection c) throws Exception {
        byte[] data = new byte[1 << 20];
        for (int i = 0; i < data.length; i++) {
            data[i] = (byte) i;
        }
        try (PreparedStatement s = c.prepareStatement("select ?::bytea")) {
            s.setBytes(1, data);
            ResultSet r = s.executeQuery();
            r.next();
            expect(Arrays.equals(r.getBytes(1), data), "not the same bytes");
            return HexFormat.of().formatHex(r.getBytes(1));
        }
    }

    static Object rows100k(Connection c) throws Exception {
        List<List<Object>> found = query(c, "select i, 'row ' || i as body, (i * 7919) % 1000 as code,"
            + " i::numeric / 8 as share from generate_series(1, 100000) i order by i");
        expect(found.size() == 100_000, found.size());
        return found;
    }

    static Object cancel(Connection c) throws Exception {
        try (Statement s = c.createStatement()) {
            Thread canceller = new Thread(() -> {
                try {
                    Thread.sleep(300);
                    s.cancel();
                } catch (Exception e) {
                    throw new IllegalStateException(e);
                }
            });
            canceller.start();
            try {
                s.execute("select pg_sleep(30)");
                throw new AssertionError("slept to the end");
            } catch (SQLException e) {
                canceller.join();
                return List.of(e.getSQLState(), query(c, "select 'after'"));
            }
        }
    }

    static Object metadata(Connection c) throws Exception {
        execute(c, DDL);
        try (ResultSet r = c.getMetaData().getColumns(null, null, "wire_check", null)) {
            List<Object> found = new ArrayList<>();
            while (r.next()) {
                found.add(r.getString("COLUMN_NAME") + "|" + r.getString("TYPE_NAME") + "|" + r.getString("IS_NULLABLE"));
            }
            expect(found.size() == 4, found);
            return found;
        }
    }

    static String quoted(String text) {
        return "\"" + text.replace("\\", "\\\\").replace("\"", "\\\"").replace("\n", "\\n").replace("\t", " ") + "\"";
    }

    /** What the driver made of the rows of one column: the values themselves, not a digest. As text, then in binary. */
    static void decode(String path) throws Exception {
        for (boolean binary : new boolean[] {false, true}) {
            try (Connection c = connect()) {
                if (binary) {
                    c.unwrap(PGConnection.class).setPrepareThreshold(-1);
                }
                for (String line : Files.readAllLines(Path.of(path))) {
                    String name = line.split("\t")[0] + (binary ? " in binary" : "");
                    String end;
                    try (PreparedStatement s = c.prepareStatement(line.split("\t")[1]); ResultSet r = s.executeQuery()) {
                        List<String> values = new ArrayList<>();
                        while (r.next()) {
                            Object value = r.getObject(1);
                            Object shown = value instanceof byte[] b ? HexFormat.of().formatHex(b) : value;
                            shown = value instanceof java.sql.SQLXML x ? x.getString() : shown;
                            shown = shown instanceof java.sql.Array a ? Arrays.deepToString((Object[]) a.getArray()) : shown;
                            values.add(shown == null ? "null" : quoted(shown.toString()));
                        }
                        end = "\"ok\": true, \"digest\": " + quoted("[" + String.join(", ", values) + "]") + "}";
                    } catch (Throwable e) {
                        end = "\"ok\": false, \"error\": " + quoted(e.toString()) + "}";
                    }
                    System.out.println("{\"check\": " + quoted(name) + ", " + end);
                }
            }
        }
    }

    public static void main(String[] arguments) throws Exception {
        if (System.getenv("WIRE_DECODE") != null) {
            decode(System.getenv("WIRE_DECODE"));
            return;
        }
        Map<String, Check> checks = new LinkedHashMap<>();
        checks.put("simple_query", Checks::simpleQuery);
        checks.put("multi_statement", Checks::multiStatement);
        checks.put("extended_query", Checks::extendedQuery);
        checks.put("prepared_reuse", Checks::preparedReuse);
        checks.put("cursor_fetch", Checks::cursorFetch);
        checks.put("batch", Checks::batch);
        checks.put("batch_error", Checks::batchError);
        checks.put("copy_text", Checks::copyText);
        checks.put("copy_csv", Checks::copyCsv);
        checks.put("copy_binary", Checks::copyBinary);
        checks.put("copy_abandoned", Checks::copyAbandoned);
        checks.put("transaction_error", Checks::transactionError);
        checks.put("notice", Checks::notice);
        checks.put("listen_notify", Checks::listenNotify);
        checks.put("error_fields", Checks::errorFields);
        checks.put("unicode", Checks::unicode);
        checks.put("bytea_1mb", Checks::bytea1mb);
        checks.put("rows_100k", Checks::rows100k);
        checks.put("cancel", Checks::cancel);
        checks.put("metadata", Checks::metadata);
        for (Map.Entry<String, Check> check : checks.entrySet()) {
            String end;
            try (Connection c = connect()) {
                byte[] value = check.getValue().run(c).toString().getBytes(StandardCharsets.UTF_8);
                byte[] digest = MessageDigest.getInstance("SHA-256").digest(value);
                end = "\"ok\": true, \"digest\": \"" + HexFormat.of().formatHex(digest) + "\"}";
            } catch (Throwable e) {
                String text = e.toString().replace("\\", "\\\\").replace("\"", "\\\"").replace("\n", "\\n").replace("\t", " ");
                end = "\"ok\": false, \"error\": \"" + text + "\"}";
            }
            System.out.println("{\"check\": \"" + check.getKey() + "\", " + end);
        }
    }
}
