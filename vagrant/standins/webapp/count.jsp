<%@ page contentType="text/plain" session="false" import="java.sql.*, javax.naming.InitialContext, javax.sql.DataSource, jakarta.servlet.http.HttpSession" %><%
// GET count.jsp?n=N: count the session's counter up to N and write N to the database. Repeating it changes nothing.
// Answers "counter N by ROUTE", 409 when the session is not the one that counted N-1, 503 when the database did not take N.
// With slow=MS it takes so long before it answers, as a report would.
HttpSession found = request.getSession(false);
int n = Integer.parseInt(request.getParameter("n"));
if (found == null || found.getAttribute("user") == null) {
    response.setStatus(409);
    out.print("not logged in");
    return;
}
int counter = (Integer) found.getAttribute("counter");
if (counter != n && counter != n - 1) {
    response.setStatus(409);
    out.print("the counter is " + counter);
    return;
}
if (request.getParameter("slow") != null) {
    Thread.sleep(Integer.parseInt(request.getParameter("slow")));
}
DataSource pool = (DataSource) new InitialContext().lookup("java:comp/env/jdbc/counts");
long end = System.currentTimeMillis() + 20000;
String wrong = null;
do {
    if (wrong != null) {
        Thread.sleep(100);
    }
    try (Connection connection = pool.getConnection();
         PreparedStatement insert = connection.prepareStatement(
             "INSERT INTO counts (user, number) VALUES (?, ?) ON DUPLICATE KEY UPDATE repeats = repeats + 1")) {
        insert.setString(1, (String) found.getAttribute("user"));
        insert.setInt(2, n);
        insert.executeUpdate();
        wrong = null;
    } catch (SQLException error) {
        // The database is moving to another node: an application that tries again is served there.
        wrong = error.getMessage();
    }
} while (wrong != null && System.currentTimeMillis() < end);
if (wrong != null) {
    response.setStatus(503);
    out.print(wrong);
    return;
}
found.setAttribute("counter", Integer.valueOf(n));

out.print("counter " + n + " by " + java.net.InetAddress.getLocalHost().getHostName());
%>
