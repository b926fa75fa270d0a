<%@ page contentType="text/plain" %><%
// GET login.jsp?user=NAME: begin a session with a counter at 0.
session.setAttribute("user", request.getParameter("user"));
session.setAttribute("counter", Integer.valueOf(0));
%>logged in
